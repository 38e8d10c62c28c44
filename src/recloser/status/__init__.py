"""The fleet at a glance, and what an operator may do about it: snapshot, actions, endpoint and page."""

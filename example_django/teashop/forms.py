"""What a customer fills in."""

from django import forms


class OrderForm(forms.Form):
    """One product, so many times."""

    product = forms.IntegerField(min_value=1, widget=forms.HiddenInput)
    quantity = forms.IntegerField(min_value=1)

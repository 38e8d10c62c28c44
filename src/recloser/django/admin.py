"""The breakers in a site's own admin: a list, a page for each, and actions by POST."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, cast

import django
from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_protect

from recloser.core.log import logger
from recloser.core.state import LATEST, Epoch
from recloser.django import description
from recloser.django.description import FLEET_SECONDS, page_note, reach, this_process
from recloser.django.lazy import registry
from recloser.django.models import Breaker
from recloser.django.operations import OPERATIONS
from recloser.registry import UnknownBreakerError
from recloser.status.actions import LABELS, LONGEST_REASON
from recloser.status.entry import epoch_from_text
from recloser.status.redaction import plain
from recloser.status.snapshot import Document
from recloser.steering import Action, ConflictError
from recloser.stores.health import Connection
from recloser.stores.protocol import StoreError


class ActionForm(forms.Form):
    """Why an operator acts, until when, and upon what he saw."""

    reason = forms.CharField(max_length=LONGEST_REASON)
    until = forms.SplitDateTimeField(
        required=False,
        widget=forms.SplitDateTimeWidget(
            date_attrs={"type": "date", "aria-label": "Until, date"},
            time_attrs={"type": "time", "aria-label": "Until, time"},
        ),
        help_text="When a forced or shadow mode ends by itself; without it, somebody has to end it.",
    )
    epoch = forms.CharField()
    worker = forms.CharField(required=False)

    def clean_reason(self) -> str:
        """Keep to one line: the reason stands in logs and tables."""
        return plain(self.cleaned_data["reason"])

    def clean_until(self) -> datetime | None:
        """Refuse an end that is past."""
        until: datetime | None = self.cleaned_data["until"]
        if until is not None and timezone.is_naive(until):
            until = timezone.make_aware(until)
        if until is not None and not time.time() < until.timestamp() < LATEST:
            raise forms.ValidationError("Must lie in the future, before the year 9999.")
        return until

    def clean_epoch(self) -> Epoch:
        """Read which state of the breaker the page showed."""
        try:
            return epoch_from_text(self.cleaned_data["epoch"])
        except ValueError as error:
            raise forms.ValidationError(f"{error}.") from None


if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[Breaker]
else:
    _ModelAdmin = admin.ModelAdmin  # generic in its type stubs only


@admin.register(Breaker)
class BreakerAdmin(_ModelAdmin):
    """Shows breakers to those who may view them, lets those act who may control them."""

    list_template: ClassVar[str] = "admin/recloser/breaker_list.html"
    page_template: ClassVar[str] = "admin/recloser/breaker_page.html"

    def get_urls(self) -> list[URLPattern]:
        """Add a URL per action to the admin's own; there are none to add, change or delete in the database."""
        app, model = self.opts.app_label, self.opts.model_name

        pages: list[tuple[str, Callable[..., HttpResponse], str]] = [
            ("", self.changelist_view, "changelist"),
            ("<path:object_id>/history/", self.history_view, "history"),
            ("<path:object_id>/change/", self.change_view, "change"),
            ("<path:object_id>/do/<str:operation>/", self.operate_view, "operate"),
        ]
        routes: Any = [
            path(pattern, self.admin_site.admin_view(view), name=f"{app}_{model}_{name}")
            for pattern, view, name in pages
        ]
        return cast("list[URLPattern]", routes)

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002 - Django's signature
        """Breakers are declared in the settings."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Breaker | None = None) -> bool:  # noqa: ARG002
        """Breakers are declared in the settings."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Breaker | None = None) -> bool:  # noqa: ARG002
        """Tell whether the user may act."""
        return _may(request, "control_breaker")

    def has_view_permission(self, request: HttpRequest, obj: Breaker | None = None) -> bool:  # noqa: ARG002
        """Tell whether the user may look; who may act may look too."""
        return self.has_change_permission(request) or _may(request, "view_breaker")

    def get_object(
        self,
        request: HttpRequest,  # noqa: ARG002
        object_id: str,
        from_field: str | None = None,  # noqa: ARG002
    ) -> Breaker | None:
        """Stand for a breaker of the fleet; who shows or changes it has looked whether there is one."""
        return Breaker(name=object_id)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """List all breakers of the fleet, worst first, and its workers.

        Raises:
            PermissionDenied: The user may not look.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        told = description.everything()
        context = {
            "title": "Circuit breakers",
            "rows": [description.of_breaker(entry) for entry in told["breakers"]],
            "workers": [description.of_worker(worker, told["at"]) for worker in told["workers"]],
            **(extra_context or {}),
        }
        return self._page(request, self.list_template, told, context)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> TemplateResponse:
        """Show one breaker, with the actions that the user may take.

        Raises:
            PermissionDenied: The user may not look.
            Http404: There is no such breaker.
        """
        del form_url
        if not self.has_view_permission(request):
            raise PermissionDenied
        return self._breaker_page(request, unquote(object_id), ActionForm(), extra_context)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show what was done to one breaker.

        Raises:
            PermissionDenied: The user may not look.
            Http404: There is no such breaker.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        _told_of(unquote(object_id))
        return super().history_view(request, object_id, extra_context)

    @method_decorator(csrf_protect)
    def operate_view(self, request: HttpRequest, object_id: str, operation: str) -> HttpResponse:
        """Act on a breaker.

        Raises:
            PermissionDenied: The user may not act.
            Http404: There is no such breaker or action.
        """
        if not self.has_change_permission(request):
            raise PermissionDenied
        name = unquote(object_id)
        _told_of(name)
        if operation not in OPERATIONS:
            raise Http404(f"no action is named {operation!r}")
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        form = ActionForm(request.POST)
        if not form.is_valid():
            return self._refused(request, name, form, 400)
        action, reason = OPERATIONS[operation], form.cleaned_data["reason"]
        try:
            reached = _steer(name, action, request.user.get_username(), form.cleaned_data)
        except ConflictError as conflict:
            form.add_error(None, f"{conflict}.")
            return self._refused(request, name, form, 409)
        except StoreError as lost:
            form.add_error(None, f"It is not known whether this was done: {lost}.")
            return self._refused(request, name, form, 503)
        label, _ = LABELS[action]
        self._log(request, name, f"{label}: {reason}")
        messages.success(request, f"{label}: {name}, {reach(in_fleet=reached)} ({reason}).")
        return HttpResponseRedirect(self._url("change", name))

    def _refused(self, request: HttpRequest, name: str, form: ActionForm, status: int) -> TemplateResponse:
        response = self._breaker_page(request, name, form, None)
        response.status_code = status
        return response

    def _breaker_page(
        self, request: HttpRequest, name: str, form: ActionForm, extra: dict[str, Any] | None
    ) -> TemplateResponse:
        told = _told_of(name)
        context = {
            "title": name,
            **description.of_breaker(told["breaker"]),
            "form": form,
            "worker": this_process(),
            "may_control": self.has_change_permission(request),
            "operations": [
                (self._url("operate", name, word), *LABELS[action]) for word, action in OPERATIONS.items()
            ],
            "history_url": self._url("history", name),
            **(extra or {}),
        }
        return self._page(request, self.page_template, told, context)

    def _page(
        self, request: HttpRequest, template: str, told: Document, context: dict[str, Any]
    ) -> TemplateResponse:
        request.current_app = self.admin_site.name
        shared = {
            "opts": self.opts,
            "scope_note": page_note(told),
            "breadcrumbs": self._breadcrumbs(template),
            "lists_breadcrumbs": django.VERSION >= (6, 1),  # whose style sheet knows them as a list
        }
        return TemplateResponse(
            request, template, {**self.admin_site.each_context(request), **shared, **context}
        )

    def _breadcrumbs(self, template: str) -> list[tuple[str, str]]:
        site, label = self.admin_site.name, self.opts.app_label
        above = [
            (reverse("admin:index", current_app=site), "Home"),
            (reverse("admin:app_list", args=[label], current_app=site), self.opts.app_config.verbose_name),
        ]
        if template == self.page_template:
            above.append((self._url("changelist"), "Circuit breakers"))
        return [(url, str(text)) for url, text in above]

    def _url(self, page: str, *arguments: str) -> str:
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}"
        return reverse(
            name, args=[quote(argument) for argument in arguments], current_app=self.admin_site.name
        )

    def _log(self, request: HttpRequest, name: str, message: str) -> None:
        # Best effort: the database may be the very thing that is down.
        try:
            self.log_change(request, Breaker(name=name), message)
        except Exception:
            logger().exception("breaker %r: the admin's log could not be written: %s", name, message)


def _steer(name: str, action: Action, by: str, wish: Mapping[str, Any]) -> bool:
    registry.ready(FLEET_SECONDS)
    # Without a store in common, the page may be that of another worker, whose epochs are others.
    is_known = registry.store_health.connection is Connection.UP or wish["worker"] == this_process()
    return registry.steer(
        name,
        action,
        by=by,
        reason=wish["reason"],
        until=wish["until"] if action.may_end else None,
        expected=wish["epoch"] if is_known else None,
    )


def _may(request: HttpRequest, permission: str) -> bool:
    user: Any = request.user
    return bool(user.has_perm(f"recloser.{permission}"))


def _told_of(name: str) -> Document:
    try:
        return description.one(name)
    except UnknownBreakerError as unknown:
        raise Http404(str(unknown)) from None

"""Login and profile, as far as clients need them while the admin token is the only key."""

from __future__ import annotations

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from api.answers import answer
from api.auth import caller, same_secret
from api.bodies import login_body
from api.context import context
from api.errors import ApiError
from api.models import ProfileAnswer, TokenAnswer
from api.openapi import body
from api.parameters import NamespacePath
from api.wire import timestamp

blueprint = APIBlueprint("login", __name__, url_prefix="/v1", abp_tags=[Tag(name="login")])
_FORMS = ("application/json", "application/x-www-form-urlencoded", "multipart/form-data")


@blueprint.post(
    "/generate-api-token",
    responses={200: TokenAnswer},
    openapi_extensions=body("LoginRequest", types=_FORMS),
)
def generate_api_token() -> Response:
    """Exchange a user name (any) and the admin token as password for the token of the Authorization header."""
    given = login_body()
    name, password = given.get("username"), given.get("password")
    missing = {
        key: ["is required, as text"]
        for key, value in (("username", name), ("password", password))
        if not isinstance(value, str) or not value
    }
    if missing:
        raise ApiError(400, f"{' and '.join(missing)}: required, as text", fields=missing)
    token = context().settings.admin_token
    if not same_secret(str(password), token):
        raise ApiError(401, "the user name or the password is wrong; the password is the admin token")
    return answer({"token": token, "username": name, "namespace": name, "email": ""})


@blueprint.get("/auth/profile", responses={200: ProfileAnswer})
def profile() -> Response:
    """The user behind the token."""
    return answer(_profile(caller()))


@blueprint.get("/auth/<string:namespace>/profile", responses={200: ProfileAnswer})
def namespace_profile(path: NamespacePath) -> Response:
    """The user or organization of that name; the admin token may act as any."""
    return answer(_profile(path.namespace))


def _profile(name: str) -> dict[str, object]:
    return {
        "id": 1,
        "username": name,
        "email": "",
        "realname": name,
        "is_active": True,
        "is_available": True,
        "last_login": None,
        "joined_at": None,
        "currency": "",
        "account_type": 1,
        "company": "",
        "api_revoked": timestamp(context().now()),
        "type": "user",
    }

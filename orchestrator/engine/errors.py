"""The engine's faults, sorted once: what can be retried, and what must be said to the user."""

from __future__ import annotations

from enum import StrEnum


class Fault(StrEnum):
    """Kinds of engine fault. The value is the word used in events and status."""

    UNREACHABLE = "engine_unreachable"
    TIMEOUT = "engine_timeout"
    ENGINE = "engine_error"  # any other 5xx of the engine
    NOT_FOUND = "not_found"  # no such container or volume
    CONFLICT = "conflict"  # name in use, removal in progress, volume in use
    IMAGE_MISSING = "image_missing"  # the engine no longer has the resolved image
    IMAGE_NOT_FOUND = "image_not_found"  # registry answers: no such repository or tag
    REGISTRY_DENIED = "registry_denied"
    REGISTRY_UNREACHABLE = "registry_unreachable"  # the host is there in name, the registry does not answer
    REGISTRY_UNKNOWN_HOST = "registry_unknown_host"
    PORT_IN_USE = "port_in_use"
    SUBNET_TAKEN = "subnet_taken"  # another network of the engine has these addresses
    NO_SPACE = "no_space"
    BAD_COMMAND = "bad_command"  # executable not found or not permitted in the image
    INVALID = "invalid"  # the engine refuses the request as it stands


_TRANSIENT = {
    Fault.UNREACHABLE,
    Fault.TIMEOUT,
    Fault.ENGINE,
    Fault.CONFLICT,
    Fault.IMAGE_MISSING,
    Fault.REGISTRY_UNREACHABLE,
    Fault.PORT_IN_USE,
    Fault.SUBNET_TAKEN,
    Fault.NO_SPACE,
}


class EngineError(Exception):
    """A call to the engine failed. `message` is the engine's own answer, shortened to be readable."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(f"{fault}: {message}")
        self.fault = fault
        self.message = message

    @property
    def transient(self) -> bool:
        """True when the same call may succeed later without anybody changing the service."""
        return self.fault in _TRANSIENT

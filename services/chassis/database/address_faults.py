"""Addresses of databases that do not work as they are set: what is wrong, in a sentence that names the variable.

A process goes on trying, because the other side may be mended: a role gets its password, a server its certificate.
"""

import socket

import asyncpg

from services.chassis.database.transient_errors import is_transient
from services.chassis.errors import CannotStart
from services.chassis.runtime.tls_faults import tls_fault


class AddressRefused(CannotStart):
    """The database cannot be reached by its address as it is."""


def pool_variable(name: str) -> str:
    """Return the variable with the address of the pool of a service."""
    return f"{name.upper()}_DATABASE_URL"


def session_variable(name: str) -> str:
    """Return the variable with the address for sessions of their own: relays and migrations."""
    return f"{name.upper()}_DATABASE_DIRECT_URL or, where that is not set, {pool_variable(name)}"


def address_fault(error: BaseException, variable: str) -> str | None:
    """Return the sentence about an error of connecting; None if it is no fault of the address."""
    reason = _reason(error)
    return None if reason is None else f"{variable} cannot be used: {reason}."


def _reason(error: BaseException) -> str | None:
    """Return what is wrong, without a period. Nothing here repeats the address, which contains a password."""
    if isinstance(error, asyncpg.PostgresError):  # what the server itself says, also after a try with TLS has failed
        passing = is_transient(error) and not isinstance(error, asyncpg.ProtocolViolationError)  # pgbouncer's refusals
        return None if passing else f"the server refuses: {_first_line(error)}"
    fault = tls_fault(error)
    if fault is not None:
        return f"the server {fault}"
    match error:
        case ConnectionError() if "rejected SSL upgrade" in str(error):
            return "the server offers no TLS"
        case socket.gaierror():
            return f"its host is not known ({error.strerror})"
        case FileNotFoundError() | PermissionError() | IsADirectoryError() | NotADirectoryError():
            return f"it names a file or a socket that cannot be opened ({error.strerror})"
        case asyncpg.ClientConfigurationError():
            return _first_line(error)
        case asyncpg.InterfaceError() if "authentication" in str(error):
            return f"the server asks for what this client does not know: {_first_line(error)}"
        case ValueError():
            return "a part of it cannot be read"
        case _:
            return None


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0].rstrip(".")

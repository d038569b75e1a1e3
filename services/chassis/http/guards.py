"""Guards: dependencies of a route that are checked before its body is read."""

from typing import Any, Generic, TypeVar

from starlette.requests import Request

T = TypeVar("T")


class Guard(Generic[T]):
    """A dependency that runs before the body is read, so that callers without access are refused first.

    Subclass it, write `admit`, and use an instance as dependency; the result of `admit` is the parameter's value:

        class SignedIn(Guard[Viewer]):
            async def admit(self, request: Request) -> Viewer: ...

        Person = Annotated[Viewer, Depends(SignedIn())]

    `StrictRoute` runs the guards of a route in the order of its parameters, once per request.
    """

    kinds: tuple[str, ...] = ("invalid-token", "sign-in-required", "forbidden")  # for the OpenAPI document

    async def admit(self, request: Request) -> T:
        raise NotImplementedError

    async def __call__(self, request: Request) -> T:
        admitted: dict[Guard[Any], Any] = request.scope.setdefault("admitted", {})
        if self not in admitted:
            admitted[self] = await self.admit(request)
        value: T = admitted[self]
        return value

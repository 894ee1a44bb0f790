"""Access control: only a browser that was given the secret address, and there only our own page."""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

HERE = frozenset({"127.0.0.1", "localhost", "::1"})
HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?")
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Access:
    """Where the server listens, and the token that grants a browser access."""

    host: str
    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def everywhere(self) -> bool:
        """Whether it listens on all addresses of the machine."""
        ip = _ip(self.host)
        return ip is not None and ip.is_unspecified

    @property
    def beyond(self) -> bool:
        """Whether other machines may reach it."""
        ip = _ip(self.host)
        return not ip.is_loopback if ip else self.host != "localhost"

    @property
    def origin(self) -> str:
        """Its address on this machine, without the token."""
        host = self.host
        if self.everywhere:
            host = "::1" if ":" in host else "127.0.0.1"
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"{self.origin}/?token={self.token}"

    @property
    def cookie(self) -> str:
        """The name of the cookie; it has the port, because browsers share cookies between ports."""
        return f"caffe-viz-{self.port}"

    def is_token(self, text: str) -> bool:
        """Compare in constant time."""
        return secrets.compare_digest(text.encode(), self.token.encode())

    def knows_cookie(self, headers: Headers) -> bool:
        """Whether a cookie among the headers has the token."""
        cookies = (part for value in values(headers, b"cookie") for part in value.split(";"))
        pairs = (part.strip().partition("=") for part in cookies)
        return any(name == self.cookie and self.is_token(value) for name, _, value in pairs)

    def is_called(self, headers: Headers) -> bool:
        """Whether the Host header is one of the server's own names, against DNS rebinding."""
        given = list(values(headers, b"host"))
        found = HOST.fullmatch(given[0].lower()) if len(given) == 1 else None
        if found is None or int(found["port"] or 80) != self.port:
            return False
        name = found["v6"] or found["name"]
        if name in HERE | {self.host.lower()}:
            return True
        return self.everywhere and (_ip(name) is not None or name == socket.gethostname().lower())

    def is_own_page(self, headers: Headers, *, reading: bool) -> bool:
        """Whether, by its headers, a request comes from our own page, or if `reading`, from the address bar.

        Without `reading` the browser must say so; programs other than browsers can.
        """
        sites, origins = list(values(headers, b"sec-fetch-site")), list(values(headers, b"origin"))
        own = [f"http://{host}" for host in values(headers, b"host")]
        if not sites and not origins:
            return reading
        if any(site != "same-origin" and not (reading and site == "none") for site in sites):
            return False
        # Firefox says "null" where the page has a referrer policy, but not of which site.
        return all(origin in own or (origin == "null" and bool(sites)) for origin in origins)


def values(headers: Headers, name: bytes) -> Iterator[str]:
    """Return the values of all headers of this name, in lower case as in ASGI."""
    return (value.decode("latin-1").strip() for key, value in headers if key == name)


def _ip(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None

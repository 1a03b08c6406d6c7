"""The connections to a Kubernetes API, none of which outlives the question that it was made for without an answer.

httpcore2 closes a connection whose TLS handshake fails, and leaves one whose handshake is cancelled: an API that takes
connections and says nothing would cost a descriptor for each question that is given up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
from httpcore2 import AsyncNetworkStream


@dataclass(slots=True)
class _Handshake:
    """Follows the making of one connection, by what httpcore2 tells of it.

    Source: httpx2, "Extensions", trace.
    """

    stream: AsyncNetworkStream | None = None

    async def heard(self, event: str, told: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self.stream = told["return_value"]
        elif event == "connection.start_tls.failed" and self.stream is not None:
            await self.stream.aclose()


class KubernetesTransport(httpx2.AsyncHTTPTransport):
    """Connections that are closed when what they are made for is cancelled."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the answer to a request."""
        request.extensions = {**request.extensions, "trace": _Handshake().heard}
        return await super().handle_async_request(request)

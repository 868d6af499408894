"""How a fault changes a request before it is answered, and an answer before it is sent."""

from __future__ import annotations

import threading

from vfsoverlay.testing._faults import Fault
from vfsoverlay.testing._message import Delivery, Request, Response


def hold(faults: list[Fault], closing: threading.Event) -> None:
    """Wait until the gates of *faults* are open, or the server closes."""
    for fault in faults:
        if fault.kind == "hold":
            gate: threading.Event = fault.settings["gate"]
            # Two events cannot be waited for at once; a glance at the other one now and then will do.
            while not gate.wait(0.05) and not closing.is_set():
                pass


def spoil_request(request: Request, faults: list[Fault]) -> None:
    """Take away the headers that the server is to ignore."""
    for fault in faults:
        if fault.kind == "ignore":
            # A new dict: the request log keeps the headers as they came.
            request.headers = {k: v for k, v in request.headers.items() if k != fault.settings["header"]}


def spoil_response(response: Response, faults: list[Fault], bandwidth: float) -> None:
    """Change headers, body and delivery of *response* as *faults* say."""
    wire = {}
    for fault in faults:
        if fault.kind in ("reset", "cut", "stall"):
            wire.update(fault.settings)
        elif fault.kind == "etag":
            _spoil_etag(response, fault.settings["etag"])
        elif fault.kind == "content-range":
            _shift_content_range(response, fault.settings["shift"])
        elif fault.kind in ("short", "flip", "half", "body"):
            _spoil_body(response, fault)
    if wire or bandwidth:
        response.delivery = Delivery(bandwidth=bandwidth, **wire)


def _spoil_etag(response: Response, etag: str) -> None:
    if etag:
        response.headers["ETag"] = f'"{etag}"'
    else:
        response.headers.pop("ETag", None)


def _shift_content_range(response: Response, shift: int) -> None:
    value = response.headers.get("Content-Range", "")
    span, _, total = value.removeprefix("bytes ").partition("/")
    first, _, last = span.partition("-")
    if last:
        response.headers["Content-Range"] = f"bytes {int(first) + shift}-{int(last) + shift}/{total}"


def _spoil_body(response: Response, fault: Fault) -> None:
    body = bytearray(_whole(response))
    if fault.kind == "short":
        del body[max(0, len(body) - fault.settings["missing"]) :]
    elif fault.kind == "half":
        del body[len(body) // 2 :]
    elif fault.kind == "body":
        body[:] = fault.settings["body"]
        response.status = 200
    elif fault.settings["at"] < len(body):
        body[fault.settings["at"]] ^= 1
    response.close()
    response.body = bytes(body)
    response.length = len(body)


def _whole(response: Response) -> bytes:
    if isinstance(response.body, bytes):
        return response.body
    pieces, position = [], 0
    while position < len(response.body):
        piece = bytes(response.body.read(position, len(response.body)))
        pieces.append(piece)
        position += len(piece)
    return b"".join(pieces)

"""One bucket of an S3-compatible store, by botocore. Its calls block: whoever calls them does so from a thread.

Imported only where the settings name such a store: botocore takes half a second and 24 MiB, and comes with an extra.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from controller.errors import Permanent, Retryable
from controller.sections.evidence import S3Section
from wire.files import read_secret

LEAST_PART_BYTES: Final = 8 << 20
"""Source: Amazon S3, "multipart upload limits": 5 MiB at least for every part but the last."""

MOST_PARTS: Final = 48
"""So that an order with a URL for each stays far below what a message may hold. Source: our choice; a URL has some 500
letters, and wire/messages.py takes 256 KiB."""

LONGEST_URL_S: Final = 604_800
"""Source: Amazon S3, "presigned URLs": seven days."""

GOT_WITHIN_S: Final = 300
"""How long the address of a bundle is good for people."""

PASSING: Final = frozenset({"SlowDown", "RequestTimeout", "ServiceUnavailable", "InternalError", "503", "500", "429"})
"""Codes of errors that pass. Source: Amazon S3, "error responses"."""

GONE: Final = frozenset({"NoSuchUpload", "NoSuchKey", "404", "NotFound"})


def part_bytes_of(bundle_bytes: int) -> int:
    """Return how long each part of a bundle is."""
    return max(LEAST_PART_BYTES, -(-bundle_bytes // MOST_PARTS))


@dataclass(frozen=True, slots=True)
class Parts:
    """Where a bundle may be put: one presigned URL for each part."""

    urls: tuple[str, ...]
    part_bytes: int


class Bucket:
    """Where bundles lie.

    Each call raises `Retryable` for what passes, `Permanent` for what does not.
    """

    def __init__(self, section: S3Section) -> None:
        """Ask nothing yet.

        Raises:
            SecretError: the file of the secret key cannot be used.
        """
        self._section = section
        secret = read_secret(section.secret_key_file) if section.secret_key_file else None
        self._client: Any = botocore.session.Session().create_client(
            "s3",
            region_name=section.region,
            endpoint_url=section.endpoint or None,
            aws_access_key_id=section.access_key or None,
            aws_secret_access_key=secret,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path" if section.path_style else "auto"},
                # Checksums that only AWS's own store knows; others refuse them.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                connect_timeout=5,
                read_timeout=15,
                retries={"total_max_attempts": 2},
            ),
        )

    def begin(self, upload: str, *, bundle_bytes: int, valid_s: float) -> Parts:
        """Return where to put a bundle; one that was begun is gone on with."""
        key, size = self._key(upload), part_bytes_of(bundle_bytes)
        upload_id = (
            self._begun(key)
            or _asked(
                lambda: self._client.create_multipart_upload(
                    Bucket=self._section.bucket, Key=key, ContentType="application/gzip"
                )
            )["UploadId"]
        )
        return Parts(
            tuple(
                self._signed("upload_part", valid_s, Key=key, UploadId=upload_id, PartNumber=number)
                for number in range(1, -(-bundle_bytes // size) + 1)
            ),
            size,
        )

    def finish(self, upload: str, *, size_bytes: int) -> None:
        """Make the parts that came one bundle. It was done before where the bundle is there.

        Raises:
            Permanent: what came is not as long as the node says.
        """
        key = self._key(upload)
        upload_id = self._begun(key)
        if upload_id:
            parts = self._parts(key, upload_id)
            came = sum(part["Size"] for part in parts)
            if came != size_bytes:
                raise Permanent(f"the store has {came} bytes of it, and the node sent {size_bytes}")
            whole = {"Parts": [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in parts]}
            self._ask("complete_multipart_upload", Key=key, UploadId=upload_id, MultipartUpload=whole)
        there = self._ask("head_object", Key=key)["ContentLength"]
        if there != size_bytes:
            raise Permanent(f"the store says that it has {there} bytes, and the node sent {size_bytes}")

    def give_up(self, upload: str) -> None:
        """Throw away what came of a bundle."""
        key = self._key(upload)
        upload_id = self._begun(key)
        if upload_id:
            self._abort(key, upload_id)

    def address(self, upload: str, *, file_name: str) -> str:
        """Return where people get a bundle for a while."""
        named = f'attachment; filename="{file_name}"'
        return self._signed("get_object", GOT_WITHIN_S, Key=self._key(upload), ResponseContentDisposition=named)

    def _key(self, upload: str) -> str:
        return f"{self._section.prefix}{upload}.tar.gz"

    def _begun(self, key: str) -> str:
        found = self._ask("list_multipart_uploads", Prefix=key).get("Uploads", [])
        return next((str(each["UploadId"]) for each in found if each["Key"] == key), "")

    def _parts(self, key: str, upload_id: str) -> list[dict[str, Any]]:
        return list(self._ask("list_parts", Key=key, UploadId=upload_id).get("Parts", []))

    def _abort(self, key: str, upload_id: str) -> None:
        self._ask("abort_multipart_upload", Key=key, UploadId=upload_id)

    def _signed(self, method: str, valid_s: float, **parameters: object) -> str:
        whole = {"Bucket": self._section.bucket, **parameters}
        expires = int(min(valid_s, LONGEST_URL_S))
        return str(_asked(lambda: self._client.generate_presigned_url(method, Params=whole, ExpiresIn=expires)))

    def _ask(self, method: str, **parameters: object) -> dict[str, Any]:
        answer: dict[str, Any] = _asked(
            lambda: getattr(self._client, method)(Bucket=self._section.bucket, **parameters)
        )
        return answer


def _asked(ask: Callable[[], Any]) -> Any:
    """Return the answer.

    Raises:
        Retryable, Permanent: there is none, with what the store says.
    """
    try:
        return ask()
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code in PASSING or status >= 500:
            raise Retryable(f"S3: {error}", after_s=30.0) from error
        raise Permanent("S3: there is no such bundle" if code in GONE else f"S3: {error}") from error
    except BotoCoreError as error:
        raise Retryable(f"S3: {error}", after_s=30.0) from error

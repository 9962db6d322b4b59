"""Keys, scopes, rates, pages from elsewhere, TLS: who gets in, and who does not."""

from __future__ import annotations

import base64

import httpx
import numpy as np
import pytest

import kit
from kit.errors import ArgumentError, ServiceError
from kit.serving.guard import Key, read_keys, write_keys


def test_without_a_key_only_health_and_pages_are_open(service):
    with httpx.Client(base_url=service.address, trust_env=False) as http:
        for path in ("/v2/health/live", "/v2/health/ready", "/", "/docs", "/openapi.json"):
            assert http.get(path).status_code == 200
        for path in ("/v2", "/v2/models/convnet-onnx", "/metrics", "/log", "/jobs"):
            answer = http.get(path)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        for wrong in ("x", service.key[:-1], service.key + "x", "ä"):
            headers = {"Authorization": f"Bearer {wrong}".encode()}
            assert http.post("/v2/models/convnet-onnx/infer", headers=headers).status_code == 401


def test_a_key_may_come_in_three_ways(service):
    basic = base64.b64encode(f":{service.key}".encode()).decode()
    for headers in (
        {"Authorization": f"Bearer {service.key}"},
        {"Authorization": f"Basic {basic}"},
        {"X-API-Key": service.key},
    ):
        assert httpx.get(f"{service.address}/v2", headers=headers, trust_env=False).status_code == 200


def test_scopes_rates_and_revocation(service, fashion):
    image = fashion.test.inputs[:1].numpy()
    key = service.add_key("guest", ["predict"], rate=2)
    with service.client(key) as guest:
        guest.infer(image)
        with pytest.raises(ServiceError, match="may not manage"):
            guest.index()
        with pytest.raises(ServiceError, match="may not train"):
            guest.ask("GET", "/jobs")
        statuses = []
        for _ in range(6):
            try:
                guest.infer(image)
            except ServiceError as error:
                statuses.append(error.status)
        assert 429 in statuses
        assert key not in service._place.keys.read_text()
        with pytest.raises(ServiceError, match="already"):
            service.add_key("guest")
        service.revoke_key("guest")
        with pytest.raises(ServiceError, match="401"):
            guest.infer(image)
    with pytest.raises(ServiceError, match="cannot be revoked"):
        service.revoke_key("owner")


def test_pages_and_names_from_elsewhere_are_refused(http, service):
    port = service.address.rsplit(":", 1)[1]
    assert http.get("/v2", headers={"Origin": "http://evil.example"}).status_code == 403
    assert http.get("/v2", headers={"Origin": "null"}).status_code == 403
    assert http.get("/v2", headers={"Host": f"evil.example:{port}"}).status_code == 403
    assert http.get("/v2", headers={"Origin": service.address}).status_code == 200
    assert http.get("/v2", headers={"Host": f"localhost:{port}"}).status_code == 200
    answer = http.options(
        "/v2", headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "GET"}
    )
    assert "access-control-allow-origin" not in answer.headers


def test_keys_at_rest_are_hashed_and_private(tmp_path):
    path = tmp_path / "keys.json"
    text = "a key of twenty characters".replace(" ", "-")
    write_keys(path, [Key.of(text, name="me", scopes=["train"], rate=3)])
    assert text not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    [key] = read_keys(path)
    assert (key.name, key.scopes, key.rate) == ("me", ("train",), 3)
    for wrong in ("short", "with a space in the middle of it", "ä" * 30):
        with pytest.raises(ArgumentError, match="20 printable"):
            Key.of(wrong)
    with pytest.raises(ArgumentError, match="did you mean 'predict'"):
        Key.of(text, scopes=["predicts"])
    with pytest.raises(ArgumentError, match="positive"):
        Key.of(text, rate=0)


def test_tls_with_a_development_certificate_and_a_key_of_ones_own(folder, fashion):
    own = "my-own-key-of-some-length"
    with kit.serve(folder, tls="development", key=own) as service:
        assert service.address.startswith("https://")
        assert service.key is None
        image = fashion.test.inputs[:1].numpy()
        with service.client(own) as client:
            np.testing.assert_allclose(client.infer(image), kit.load(folder)(image), rtol=1e-5, atol=1e-5)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{service.address}/v2/health/live", trust_env=False)
    with pytest.raises(ArgumentError, match="PEM"):
        kit.serve(folder, tls=("no", "file"))

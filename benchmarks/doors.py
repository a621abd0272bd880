"""The front doors under test, each as one process that takes the same requests to the same upstream."""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import litellm_env

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
UPSTREAM = HERE / "upstream.py"

NGINX = """
daemon off;
master_process off;
worker_processes 1;
pid {home}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
  client_max_body_size 64m;
  keepalive_requests 1000000000;
  upstream engine {{
    server 127.0.0.1:{upstream};
    keepalive 128;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://engine;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_read_timeout 600s;
    }}
  }}
}}
"""

HAPROXY = """
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  option http-no-delay
  http-reuse always
  timeout connect 5s
  timeout client 600s
  timeout server 600s
listen engine
  bind 127.0.0.1:{port}
  server engine 127.0.0.1:{upstream}
"""

LITELLM = """
model_list:
  - model_name: bench
    litellm_params:
      model: openai/bench
      api_base: http://127.0.0.1:{upstream}/v1
      api_key: none
      allowed_openai_params: [interval_ms]
litellm_settings:
  num_retries: 0
  telemetry: false
  request_timeout: 120
"""


class MissingError(Exception):
    """This front door cannot take part on this machine; the message says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Door:
    """How to start a front door, and how patient to be with it."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    start_timeout_s: float = 20.0
    slow: bool = False  # takes so much longer that it gets fewer requests


def _program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise MissingError(f"{name} is not installed")
    return found


def _written(home: Path, name: str, template: str, port: int, upstream: int) -> str:
    path = home / name
    path.write_text(template.format(home=home, port=port, upstream=upstream))
    return str(path)


def nginx(home: Path, port: int, upstream: int) -> Door:
    program = _program("nginx")
    config = _written(home, "nginx.conf", NGINX, port, upstream)
    return Door(name="nginx", command=(program, "-p", str(home), "-e", "stderr", "-c", config))


def haproxy(home: Path, port: int, upstream: int) -> Door:
    program = _program("haproxy")
    return Door(name="haproxy", command=(program, "-db", "-f", _written(home, "haproxy.cfg", HAPROXY, port, upstream)))


def minimal(home: Path, port: int, upstream: int) -> Door:  # noqa: ARG001 - all doors are built alike
    script = str(HERE / "minimal_aiohttp.py")
    command = (sys.executable, script, "--port", str(port), "--upstream", str(upstream))
    return Door(name="minimal aiohttp", command=command)


def costctl(home: Path, port: int, upstream: int) -> Door:  # noqa: ARG001 - it starts the upstream itself
    program = Path(sys.executable).with_name("costctl")
    if not program.exists():
        raise MissingError(f"there is no costctl beside {sys.executable}")
    engine = shlex.join([sys.executable, str(UPSTREAM), "--port", "{port}"])
    serve = f"serve --engine command --health-path /health --gpu none --port {port} --idle-shutdown off --eager"
    return Door(
        name="costctl",
        command=(str(program), *serve.split(), "--engine-command", engine),
        environment={"COSTCTL_HOME": str(home / "costctl")},
        start_timeout_s=40.0,
    )


def litellm(home: Path, port: int, upstream: int) -> Door:
    try:
        program = litellm_env.ensure()
    except litellm_env.SetUpError as exc:
        raise MissingError(str(exc)) from exc
    config = _written(home, "litellm.yaml", LITELLM, port, upstream)
    return Door(
        name="LiteLLM",
        command=(str(program), "--config", config, "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"),
        environment={"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"},
        start_timeout_s=90.0,
        slow=True,
    )


BUILDERS: dict[str, Callable[[Path, int, int], Door]] = {
    "nginx": nginx,
    "haproxy": haproxy,
    "costctl": costctl,
    "minimal": minimal,
    "litellm": litellm,
}

"""A real Kubernetes control plane on this machine: etcd, kube-apiserver and what a test asks for of the rest.

The programs come by envtest's convention: `KUBEBUILDER_ASSETS` names their folder; etcd may be on the PATH instead.
Everything lies in one directory, listens on free ports of the loopback, dies with the process that started it, and is
ended by its process id. Source: controller-runtime, package envtest.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cli.ports import LOOPBACK, free_ports
from tests.support.kubernetes_api import UNSCHEDULABLE, KubernetesApi
from tests.support.parts import missing

ASSETS = "KUBEBUILDER_ASSETS"
ADMIN_TOKEN = "token-of-the-administrator"
NOBODY_REPORTS_S = 3600
MADE_AT_START = (
    *("/api/v1/namespaces/default", "/api/v1/namespaces/kube-system"),
    "/apis/rbac.authorization.k8s.io/v1/clusterroles/view",
)
"""What the server makes of itself after it began to answer, and tests need."""

OWN_TMP = """
mkdir -p "$1$2"
mount --bind "$2" "$1$2"
mount --rbind "$1/tmp" /tmp
shift 2
exec "$@"
"""
"""Give a program a /tmp of its own, in which the cluster's folder lies where it did. Every kubemark makes the socket of
its fake container runtime there by one and the same name, and takes away that of another one, of any test.
"""

CONTROLLERS = (
    *("daemonset", "deployment", "disruption", "garbagecollector", "job", "namespace", "nodelifecycle", "podgc"),
    *("replicaset", "serviceaccount", "statefulset"),
)


def find_program(name: str) -> str:
    """Return where a program is; without it the test skips, and in CI it fails."""
    folder = os.environ.get(ASSETS, "")
    found = shutil.which(name, path=folder) if folder else None
    if found is None and name == "etcd":
        found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    return found or missing(f"{name} (a folder with it in {ASSETS}, e.g. `setup-envtest use -p path`)")


@dataclass(slots=True)
class KubernetesCluster:
    """One API server with its etcd, running between entering and leaving.

    Attributes:
        directory: certificates, keys and logs; it must exist.
        controllers: run kube-controller-manager: taints by condition, budgets, Deployments, garbage collection.
        scheduler: run kube-scheduler.
        node_grace_s: after how long without a word of its kubelet a node is not ready. Plain nodes have no kubelet.
        apiserver_flags: more flags of kube-apiserver.
        more_controllers: that run beside CONTROLLERS.
    """

    directory: Path
    controllers: bool = True
    scheduler: bool = False
    node_grace_s: int = NOBODY_REPORTS_S
    apiserver_flags: Sequence[str] = ()
    more_controllers: Sequence[str] = ()
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _ports: list[int] = field(default_factory=lambda: free_ports(5))

    def __enter__(self) -> Self:
        try:
            self._write_files()
            self._start_etcd()
            self.start_apiserver()
            if self.controllers:
                self._start_controllers()
            if self.scheduler:
                self._start_scheduler()
        except BaseException:
            self._end_all()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end_all()

    @property
    def url(self) -> str:
        """Where the API server answers."""
        return f"https://{LOOPBACK}:{self._ports[0]}"

    @property
    def certificate(self) -> Path:
        """What proves the API server, and its authority."""
        return self.directory / "certs" / "apiserver.crt"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.directory / "admin.kubeconfig"

    @property
    def api(self) -> KubernetesApi:
        """The administrator's requests."""
        return self.api_of(ADMIN_TOKEN)

    def api_of(self, token: str) -> KubernetesApi:
        """Return the requests of whoever has this token."""
        return KubernetesApi(LOOPBACK, self._ports[0], self.certificate, token)

    def kubeconfig_of(self, name: str, token: str) -> Path:
        """Write and return the kubeconfig of whoever has this token."""
        path = self.directory / f"{name}.kubeconfig"
        path.write_text(json.dumps(self._kubeconfig(token)))
        path.chmod(0o600)
        return path

    def start_apiserver(self, *flags: str) -> None:
        """Start the API server on its port, with further flags, and return when it is ready."""
        port, etcd = self._ports[0], self._ports[1]
        self._spawn(
            "kube-apiserver",
            *(f"--etcd-servers=http://{LOOPBACK}:{etcd}", f"--cert-dir={self.directory / 'certs'}"),
            *(f"--bind-address={LOOPBACK}", f"--advertise-address={LOOPBACK}", f"--secure-port={port}"),
            *("--insecure-port=0", "--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/24"),
            *("--authorization-mode=RBAC", f"--token-auth-file={self.directory / 'tokens.csv'}"),
            *(f"--service-account-key-file={self._key}", f"--service-account-signing-key-file={self._key}"),
            *("--service-account-issuer=https://localhost", "--disable-admission-plugins=ServiceAccount"),
            *("--allow-privileged=true", "--event-ttl=1h", *self.apiserver_flags, *flags),
        )
        self.until("kube-apiserver is ready", self._is_ready, limit_s=60.0)

    def kill_apiserver(self) -> None:
        """End the API server without a word."""
        self._end("kube-apiserver", signal.SIGKILL)

    def restart_apiserver(self, *flags: str) -> None:
        """End the API server without a word, and start it again on the same port; `flags` are added this once."""
        self.kill_apiserver()
        self.start_apiserver(*flags)

    def suspend(self, program: str) -> None:
        """Stop a program as SIGSTOP does: its ports stay open, and nobody answers."""
        self._processes[program].send_signal(signal.SIGSTOP)

    def resume(self, program: str) -> None:
        """Let a suspended program go on."""
        self._processes[program].send_signal(signal.SIGCONT)

    def add_nodes(self, *names: str, labels: dict[str, str] | None = None, gpus: int = 8) -> None:
        """Register plain nodes, and return when pods may be placed on them."""
        for name in names:
            self.api.add_node(name, labels=labels, gpus=gpus)
        if self.controllers:
            self.until(f"{names} are in service", lambda: not any(map(self.api.taints, names)))

    def add_hollow_nodes(self, *names: str, labels: str = "") -> None:
        """Start real kubelets over a fake container runtime (75 MB each), and return when they are ready.

        Args:
            names: of the nodes.
            labels: more labels of each node, `key=value,...`.
        """
        for name in names:
            self.start_kubelet(name, labels=labels)
        self.until_in_service(*names)

    def until_in_service(self, *names: str) -> None:
        """Return when these nodes are ready for pods."""
        self.until(f"{names} are ready", lambda: all(self._is_in_service(name) for name in names), limit_s=60.0)

    def start_kubelet(self, name: str, *, labels: str = "") -> None:
        """Start, or start again, the hollow kubelet of a node."""
        port, read_only_port = free_ports(2)
        own = self.directory / f"{name}-root"
        (own / "tmp").mkdir(parents=True, exist_ok=True)
        namespace = ("--mount", "--propagation", "private", *(() if os.geteuid() == 0 else ("--map-root-user",)))
        self._spawn(
            "kubemark",
            *("--morph=kubelet", f"--name={name}", f"--kubeconfig={self.kubeconfig}"),
            *(f"--kubelet-port={port}", f"--kubelet-read-only-port={read_only_port}"),
            *((f"--node-labels={labels}",) if labels else ()),
            name=name,
            inside=("unshare", *namespace, "sh", "-e", "-c", OWN_TMP, "own-tmp", str(own), str(self.directory)),
        )

    def kill_kubelet(self, name: str) -> None:
        """End a hollow kubelet without a word."""
        self._end(name, signal.SIGKILL)

    @contextlib.contextmanager
    def finishing_pods(self) -> Iterator[None]:
        """Play the kubelet of every plain node in one thing meanwhile: remove a pod that was told to end, at once."""
        with self._playing(self._finish_one):
            yield

    @contextlib.contextmanager
    def running_pods(self) -> Iterator[None]:
        """Play the kubelet in two things meanwhile: a pod is ready at once, whatever it wants, and ends at once."""

        def play(event: dict[str, object]) -> None:
            self._finish_one(event)
            self._begin_one(event)

        with self._playing(play):
            yield

    @contextlib.contextmanager
    def _playing(self, play: Callable[[dict[str, object]], None]) -> Iterator[None]:
        def follow(pods: Iterable[dict[str, object]]) -> None:
            # The watch ends with a closed connection when the test is over.
            with contextlib.suppress(OSError, ValueError, AttributeError):
                for event in pods:
                    play(event)

        with self.api.watch("/api/v1/pods", timeout_s=600.0) as pods:
            player = threading.Thread(target=follow, args=(pods,), daemon=True)
            player.start()
            yield
        player.join(timeout=10.0)

    def _begin_one(self, event: dict[str, object]) -> None:
        pod = event["object"]
        assert isinstance(pod, dict)
        about = pod["metadata"]
        if event["type"] != "DELETED" and pod["status"].get("phase") == "Pending":
            self.api.say_ready(about["namespace"], about["name"])

    def _finish_one(self, event: dict[str, object]) -> None:
        pod = event["object"]
        assert isinstance(pod, dict)
        about = pod["metadata"]
        if event["type"] == "MODIFIED" and "deletionTimestamp" in about:
            self.api.delete(f"/api/v1/namespaces/{about['namespace']}/pods/{about['name']}", grace_s=0)

    def until(self, what: str, holds: Callable[[], bool], *, limit_s: float = 30.0) -> None:
        """Return when it holds; fail with `what`, and what the programs said last, when it takes too long."""
        end = time.monotonic() + limit_s
        while not holds():
            if time.monotonic() > end:
                raise TimeoutError(f"not within {limit_s:.0f} s: {what}\n{self._last_words()}")
            self._check_processes()
            time.sleep(0.05)

    @property
    def _key(self) -> Path:
        return self.directory / "service-accounts.key"

    def _is_ready(self) -> bool:
        if not self.certificate.exists():
            return False
        with contextlib.suppress(OSError, ValueError):
            return all(self.api.request("GET", path).status == 200 for path in MADE_AT_START)
        return False

    def _is_in_service(self, name: str) -> bool:
        answer = self.api.request("GET", f"/api/v1/nodes/{name}")
        if answer.status != 200 or answer.body["spec"].get("taints"):
            return False
        conditions = answer.body["status"].get("conditions", [])
        return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)

    def _start_etcd(self) -> None:
        client, peer = (f"http://{LOOPBACK}:{port}" for port in self._ports[1:3])
        self._spawn(
            "etcd",
            *("--data-dir", str(self.directory / "etcd"), "--unsafe-no-fsync"),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"default={peer}"),
        )

    def _start_controllers(self) -> None:
        controllers = ",".join((*CONTROLLERS, *self.more_controllers))
        access = [f"--{kind}kubeconfig={self.kubeconfig}" for kind in ("", "authentication-", "authorization-")]
        self._spawn(
            "kube-controller-manager",
            *access,
            *(
                "--leader-elect=false",
                f"--controllers={controllers}",
                "--use-service-account-credentials=0",
            ),
            *(f"--service-account-private-key-file={self._key}", f"--root-ca-file={self.certificate}"),
            *(f"--bind-address={LOOPBACK}", f"--secure-port={self._ports[3]}", "--port=0"),
            *("--kube-api-qps=500", "--kube-api-burst=1000", "--node-monitor-period=1s"),
            *(f"--node-monitor-grace-period={self.node_grace_s}s", "--pod-eviction-timeout=10s"),
        )

    def _start_scheduler(self) -> None:
        self._spawn(
            "kube-scheduler",
            *(f"--kubeconfig={self.kubeconfig}", "--leader-elect=false"),
            *(f"--bind-address={LOOPBACK}", f"--secure-port={self._ports[4]}", "--port=0"),
            *("--kube-api-qps=500", "--kube-api-burst=1000"),
        )

    def _write_files(self) -> None:
        (self.directory / "certs").mkdir()
        (self.directory / "tokens.csv").write_text(f'{ADMIN_TOKEN},admin,admin,"system:masters"\n')
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        self._key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, plain))
        self.kubeconfig_of("admin", ADMIN_TOKEN)

    def _kubeconfig(self, token: str) -> dict[str, object]:
        server = {"server": self.url, "certificate-authority": str(self.certificate)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": server}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }

    def _spawn(self, program: str, *arguments: str, name: str = "", inside: Sequence[str] = ()) -> None:
        """Start a program that the kernel ends when the thread that starts it dies, however it dies.

        Args:
            inside: the command that turns into it.
        """
        with (self.directory / f"{name or program}.log").open("ab") as output:
            self._processes[name or program] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *inside, find_program(program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.directory,
            )

    def _end_all(self) -> None:
        """End the last first, at once: nothing of it is wanted again, and in peace a kubelet takes seconds."""
        for name in reversed(list(self._processes)):
            self._end(name, signal.SIGKILL)

    def _end(self, name: str, number: signal.Signals) -> None:
        process = self._processes.pop(name, None)
        if process is not None:
            process.send_signal(number)
            process.wait(timeout=10)

    def _check_processes(self) -> None:
        for name, process in self._processes.items():
            assert process.poll() is None, f"{name} ended with code {process.returncode}\n{self._last_words()}"

    def _last_words(self) -> str:
        logs = sorted(self.directory.glob("*.log"))
        return "\n".join(f"--- {log.name}: {log.read_text(errors='replace')[-800:]}" for log in logs)


def plain_taints(api: KubernetesApi, node: str) -> dict[str, str]:
    """Return the taints of a node without the one that follows from its being cordoned."""
    return {key: effect for key, effect in api.taints(node).items() if key != UNSCHEDULABLE}

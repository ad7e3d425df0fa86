"""Makes actions ready: which engine, which configuration, which credentials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from orchestrator.actions import Action, Launch, Pull, ReleaseVolumes, Resume
from orchestrator.addresses import Place
from orchestrator.engine.base import Engine, RegistryAuth, VolumeConfig
from orchestrator.engine.container_config import container_config, network_config, volume_configs
from orchestrator.jobs import Job, pull_key
from orchestrator.planner import target_revision
from orchestrator.settings import Settings
from orchestrator.sizes import DEFAULT_SIZES
from orchestrator.spec import ServiceSpec
from orchestrator.state import Instance, Revision
from orchestrator.store.passes import Loaded

MAX_GRACE_SECONDS = 3600


@dataclass(frozen=True)
class JobMaker:
    """Turns an action into a job, out of the settings and the spec of the revision that it concerns."""

    settings: Settings

    def make(
        self,
        loaded: Loaded,
        action: Action,
        instance: Instance | None,
        spec: ServiceSpec | None,
        engine: Engine,
        link_variables: Mapping[str, str],
        place: Place | None = None,
    ) -> Job:
        """`spec` is that of the revision the action launches, else the service's own; `link_variables` of its links;
        `place`: where on its namespace's network.

        Only a launch can't do without its spec: what can't be read must still be ended.
        """
        desired = loaded.desired
        key = f"volumes:{loaded.uuid}" if isinstance(action, ReleaseVolumes) else ""
        if isinstance(action, Pull):
            key = pull_key(loaded.uuid, action.image_ref)
        job = Job(
            key=key or (instance.uuid if instance else loaded.uuid),
            service_uuid=loaded.uuid,
            service_name=loaded.full_name,
            generation=desired.generation,
            action=action,
            engine=engine,
            instance_uuid=instance.uuid if instance else None,
            container_id=instance.container_id if instance else None,
            revision=desired.revision.number,
            volume_names=loaded.volumes if isinstance(action, ReleaseVolumes) else (),
            grace_seconds=self._grace_seconds(spec),
            probed=loaded.probe is not None,
            routed=loaded.routed,
        )
        if isinstance(action, Pull):
            ref = action.image_ref
            return replace(job, image_ref=ref, auth=registry_auth(ref, self.settings.registries))
        if isinstance(action, Launch | Resume) and instance is not None:
            revision = target_revision(desired)
            assert revision is not None, "the planner launches only what has an image"
            assert spec is not None, "a launch needs its spec"
            return self._launch(job, loaded, instance, spec, revision, link_variables, place)
        return job

    def volumes_wanted(self, loaded: Loaded, slot: int, spec: ServiceSpec) -> Mapping[str, tuple[str, int]]:
        """name -> (path, size_gb) of the volumes that an instance in `slot` mounts."""
        configs = self._volumes(loaded, slot, spec)
        return {
            config.name: (volume.app_volume_dir, volume.size_gb)
            for config, volume in zip(configs, spec.volumes, strict=True)
        }

    def _launch(
        self,
        job: Job,
        loaded: Loaded,
        instance: Instance,
        spec: ServiceSpec,
        revision: Revision,
        link_variables: Mapping[str, str],
        place: Place | None,
    ) -> Job:
        settings = self.settings
        config = container_config(
            spec=spec,
            service_uuid=loaded.uuid,
            namespace=loaded.desired.namespace,
            instance_uuid=instance.uuid,
            slot=instance.slot,
            fingerprint=revision.fingerprint or "",
            image_id=revision.image_id or "",
            installation=settings.installation,
            size=settings.sizes.get(spec.instance_size, DEFAULT_SIZES["XS"]),
            base_domain=settings.base_domain,
            pids_limit=settings.pids_limit,
            log_driver=settings.container_log_driver,
            log_max_size=settings.container_log_max_size,
            log_max_file=settings.container_log_max_file,
            stop_grace_seconds=job.grace_seconds,
            link_variables=link_variables,
            place=place,
        )
        network = network_config(settings.installation, loaded.desired.namespace, place.subnet) if place else None
        job = replace(job, network=network)
        return replace(job, config=config, volumes=self._volumes(loaded, instance.slot, spec), revision=revision.number)

    def _volumes(self, loaded: Loaded, slot: int, spec: ServiceSpec) -> tuple[VolumeConfig, ...]:
        return volume_configs(
            spec=spec,
            service_uuid=loaded.uuid,
            namespace=loaded.desired.namespace,
            slot=slot,
            installation=self.settings.installation,
            mode=self.settings.volume_mode,
        )

    def _grace_seconds(self, spec: ServiceSpec | None) -> int:
        wished = spec.deployment_preference.get("stop_grace_seconds") if spec else None
        return min(int(wished), MAX_GRACE_SECONDS) if wished is not None else self.settings.stop_grace_seconds


def registry_auth(image_ref: str, registries: Mapping[str, RegistryAuth]) -> RegistryAuth | None:
    """The operator's credentials for the image's registry: `127.0.0.1:5000/app:1` -> those of "127.0.0.1:5000".

    A first part without a dot or a port is a user's name on the engine's default registry (Docker's own rule).
    """
    first, _, rest = image_ref.partition("/")
    host = first if rest and ("." in first or ":" in first or first == "localhost") else "docker.io"
    return registries.get(host)

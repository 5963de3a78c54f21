"""Drafts of artifacts without files, for tests of the catalogue alone."""

from registry.catalogue import ArtifactDraft
from registry.facts import ArtifactFormat, KVGeometry, ModelFacts, ModelKind, Quantization


def make_facts(
    kind: ArtifactFormat = ArtifactFormat.GGUF,
    *,
    parameter_count: int = 1_000_000,
    num_layers: int = 2,
    embedding_length: int = 64,
    label: str = "Q4_K_M",
    reasons: tuple[str, ...] = (),
    context_length: int = 2048,
) -> ModelFacts:
    return ModelFacts(
        format=kind,
        architecture="llama",
        kind=ModelKind.MODEL,
        parameter_count=parameter_count,
        weight_bytes=500_000,
        num_tensors=9,
        quantization=Quantization(label=label),
        context_length=context_length,
        embedding_length=embedding_length,
        vocabulary_size=1_000,
        kv=KVGeometry(num_layers=num_layers, num_kv_heads=(2,) * num_layers, key_length=16, value_length=16),
        loadable=not reasons,
        reasons=reasons,
    )


def make_draft(
    path: str,
    *,
    name: str = "m",
    facts: ModelFacts | None = None,
    size_bytes: int = 100,
    mtime_ns: int = 1,
    organization: str | None = None,
    origin: str | None = None,
    is_owned: bool = False,
    mmproj_path: str | None = None,
) -> ArtifactDraft:
    facts = facts or make_facts()
    return ArtifactDraft(
        format=facts.format,
        path=path,
        files=(path,),
        mmproj_path=mmproj_path,
        size_bytes=size_bytes,
        mtime_ns=mtime_ns,
        is_owned=is_owned,
        facts=facts,
        name=name,
        organization=organization,
        origin=origin,
    )

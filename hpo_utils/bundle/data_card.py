"""The data card of a bundle: the data that a model comes from, as Croissant JSON-LD.

Croissant is MLCommons' vocabulary for data sets, an extension of schema.org's (Akhtar et al. 2024,
arXiv 2403.19546). Search engines and archives read it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpo_utils.data.prepared import PreparedData

DATA_CARD = "croissant.json"
CROISSANT = "http://mlcommons.org/croissant/"
# terms of the vocabulary that a reader must find in the context, whether they are used or not
TERMS = [
    "citeAs",
    "column",
    "dataBiases",
    "dataCollection",
    "equivalentProperty",
    "extract",
    "field",
    "fileProperty",
    "fileObject",
    "fileSet",
    "format",
    "includes",
    "isLiveDataset",
    "jsonPath",
    "key",
    "md5",
    "parentField",
    "path",
    "personalSensitiveInformation",
    "recordSet",
    "references",
    "regex",
    "repeated",
    "replace",
    "samplingRate",
    "separator",
    "source",
    "subField",
    "transform",
]
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": CROISSANT,
    "rai": f"{CROISSANT}RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in TERMS},
}
# entries of ``dataset.card`` that have a name of their own in the vocabulary
NAMED = {
    "description": "description", "license": "license", "url": "url", "citation": "citeAs",
    "recorded": "temporalCoverage", "instrument": "measurementTechnique", "version": "version",
    "published": "datePublished",
}  # fmt: skip


def data_card(data: PreparedData) -> dict[str, Any]:
    """Return the card: ``dataset.card``, files with digests, channels and targets with units."""
    manifest = data.manifest
    card: dict[str, str] = manifest.get("card") or {}
    settings = manifest["settings"]["dataset"]
    known = {term: card[key] for key, term in NAMED.items() if key in card}
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": f"{CROISSANT}1.0",
        "name": settings.get("name", data.dataset_id),
        "identifier": data.dataset_id,
        **known,
        **({"creator": {"@type": "Person", "name": card["creator"]}} if "creator" in card else {}),
        "distribution": [_file(source) for source in manifest["sources"]],
        "variableMeasured": [
            *({"@type": "PropertyValue", "name": name} for name in manifest["channel_names"]),
            *(
                _target(name, unit, card)
                for name, unit in zip(data.target_names, data.target_units, strict=True)
            ),
        ],
    }


def _file(source: dict[str, Any]) -> dict[str, Any]:
    name = Path(source["path"]).name
    shape = " × ".join(map(str, source["shape"]))
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "description": f"array of {shape}",
        "contentUrl": name,
        "encodingFormat": "application/octet-stream",
        "sha256": source["sha256"],
    }


def _target(name: str, unit: str, card: dict[str, str]) -> dict[str, str]:
    found = {"@type": "PropertyValue", "name": name}
    if unit != "-":
        found["unitText"] = unit
    if "reference_method" in card:
        found["measurementTechnique"] = card["reference_method"]
    return found

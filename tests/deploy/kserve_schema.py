"""The part of KServe's resource ``InferenceService`` (serving.kserve.io/v1beta1) that deploy/kserve.yaml uses.

The names are those of KServe 0.21 and of Kubernetes' PodSpec and Container; other fields are errors.
"""

from typing import Any


def record(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


TEXT: dict[str, Any] = {"type": "string"}
COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
FLAG: dict[str, Any] = {"type": "boolean"}
NAME: dict[str, Any] = {"type": "string", "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"}
PORT: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": 65535}
QUANTITY: dict[str, Any] = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|[kMGT]i?)?$"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
PROBE = record(
    ["httpGet"],
    httpGet=record(["path", "port"], path=TEXT, port=PORT),
    periodSeconds=COUNT,
    timeoutSeconds=COUNT,
    failureThreshold=COUNT,
)
RESOURCES = record([], cpu=QUANTITY, memory=QUANTITY)
CONTAINER = record(
    ["name", "image"],
    name=NAME,
    image=TEXT,
    command=array(TEXT),
    args=array(TEXT),
    ports=array(record(["containerPort"], containerPort=PORT, protocol={"enum": ["TCP", "UDP", "SCTP"]})),
    startupProbe=PROBE,
    readinessProbe=PROBE,
    livenessProbe=PROBE,
    resources=record([], requests=RESOURCES, limits=RESOURCES),
    securityContext=record(
        [],
        allowPrivilegeEscalation=FLAG,
        readOnlyRootFilesystem=FLAG,
        capabilities=record([], add=array(TEXT), drop=array(TEXT)),
    ),
    volumeMounts=array(record(["name", "mountPath"], name=NAME, mountPath=TEXT)),
)
PREDICTOR = record(
    ["containers"],
    minReplicas=COUNT,
    maxReplicas=COUNT,
    timeout=COUNT,
    terminationGracePeriodSeconds=COUNT,
    securityContext=record([], runAsNonRoot=FLAG, runAsUser=COUNT),
    containers=array(CONTAINER),
    volumes=array(record(["name"], name=NAME, emptyDir=record([], sizeLimit=QUANTITY))),
)
INFERENCE_SERVICE = record(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "serving.kserve.io/v1beta1"},
    kind={"const": "InferenceService"},
    metadata=record(["name"], name=NAME, annotations=TEXTS),
    spec=record(["predictor"], predictor=PREDICTOR),
)

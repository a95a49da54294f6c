"""A registered model of MLflow: its versions, their tags, and the aliases that point to them."""

from typing import TYPE_CHECKING

from wordgaze.tracking.runs import WEIGHTS_TAG
from wordgaze.tracking.store import Store, quoted

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

DECODING = "evaluated_on.decoding"
"""The tag with a fingerprint of the decoding settings that a version was evaluated with and ships with."""


class CaptionerModel:
    """The registered model of a project. Call its methods inside ``translate_errors``."""

    def __init__(self, store: Store, name: str) -> None:
        self.client, self.name = store.client, name

    def create(self) -> None:
        """Makes the registered model where it is missing; another process may make it at the same time."""
        from mlflow.exceptions import MlflowException

        if self._model() is not None:
            return
        try:
            self.client.create_registered_model(
                self.name, description="Captions an image and shows the attention of each word."
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def aliases(self) -> dict[str, int]:
        """The version of each alias; empty where there is no such model."""
        model = self._model()
        return {alias: int(version) for alias, version in model.aliases.items()} if model else {}

    def set_alias(self, alias: str, version: int) -> None:
        """Points an alias to a version."""
        self.client.set_registered_model_alias(self.name, alias, str(version))

    def delete_alias(self, alias: str) -> None:
        """Removes an alias, if it is there."""
        if alias in self.aliases():
            self.client.delete_registered_model_alias(self.name, alias)

    def tags(self) -> dict[str, str]:
        """The tags of the model itself."""
        model = self._model()
        return dict(model.tags) if model else {}

    def set_tag(self, key: str, value: str) -> None:
        """Sets a tag of the model itself."""
        self.client.set_registered_model_tag(self.name, key, value)

    def delete_tag(self, key: str) -> None:
        """Removes a tag of the model itself, if it is there."""
        if key in self.tags():
            self.client.delete_registered_model_tag(self.name, key)

    def version(self, number: int) -> "ModelVersion":
        """A version."""
        return self.client.get_model_version(self.name, str(number))

    def versions(self) -> "list[ModelVersion]":
        """All versions, the oldest first."""
        found: list[ModelVersion] = []
        token = None
        while True:
            page = self.client.search_model_versions(f"name = {quoted(self.name)}", page_token=token)
            found += page
            token = page.token
            if not token:
                return sorted(found, key=lambda version: int(version.version))

    def tag_version(self, number: int, tags: dict[str, str]) -> None:
        """Sets tags of a version."""
        for key, value in tags.items():
            self.client.set_model_version_tag(self.name, str(number), key, value)

    def matching(self, tags: dict[str, str]) -> int | None:
        """The newest version with these weights and decoding settings.

        A version that an older wordgaze registered does not tell its settings, and matches all.
        """
        wanted = f"name = {quoted(self.name)} and tags.`{WEIGHTS_TAG}` = {quoted(tags[WEIGHTS_TAG])}"
        found = [
            int(version.version)
            for version in self.client.search_model_versions(wanted)
            if DECODING not in version.tags or version.tags[DECODING] == tags.get(DECODING)
        ]
        return max(found, default=None)

    def add(self, run_id: str, model_id: str, tags: dict[str, str]) -> int:
        """A new version, of a model that a run has logged."""
        source = f"models:/{model_id}"
        return int(self.client.create_model_version(self.name, source, run_id, tags, model_id=model_id).version)

    def describe(self, number: int, text: str) -> None:
        """Sets the description of a version."""
        self.client.update_model_version(self.name, str(number), text)

    def _model(self) -> "RegisteredModel | None":
        models = self.client.search_registered_models(f"name = {quoted(self.name)}")
        return models[0] if models else None

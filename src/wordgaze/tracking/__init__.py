"""MLflow: the runs of the stages, the captioner as a packaged model, and the registry of its versions.

mlflow takes seconds to import, so the modules here import it inside their functions, and no other part of wordgaze
imports it at all. The one exception is ``served``, which MLflow runs as the code of the packaged model.
"""

"""The packaged captioner as a function of Spark, where pyspark is installed."""

import base64
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from wordgaze.inference.captioner import Captioner
from wordgaze.tracking.package import save_packaged

pytest.importorskip("pyspark", reason="pyspark is not installed; pip install pyspark, which needs Java")


@pytest.mark.filterwarnings("ignore")  # of Spark and of MLflow, about their own code
def test_spark_captions_a_column_of_images_by_the_schema_of_the_model(
    tmp_path: Path, write_captioner: Callable[..., Path], picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow.pyfunc
    from pyspark.sql import SparkSession

    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    folder = write_captioner(tmp_path / "captioner")
    save_packaged(tmp_path / "packaged", folder)
    image = base64.b64encode(picture.read_bytes()).decode()
    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    address, params = str(tmp_path / "packaged"), {"on_error": "column"}
    try:
        whole = mlflow.pyfunc.spark_udf(spark, address, env_manager="local", params=params)
        some = mlflow.pyfunc.spark_udf(spark, address, "caption string, probability double", env_manager="local")
        pictures = spark.createDataFrame([(image,), (image,), ("no picture",)], ["image"])
        rows = [row.said for row in pictures.select(whole("image").alias("said")).collect()]
        parts = [row.said for row in pictures.limit(2).select(some("image").alias("said")).collect()]
    finally:
        spark.stop()
    [best] = Captioner.load(folder, "cpu").caption(picture)
    assert [row.caption for row in rows] == [best.text, best.text, ""]
    assert [row.error for row in rows] == ["", "", rows[2].error]
    assert rows[2].error.startswith("picture 3: 'no picture' is not a file here")
    assert (rows[0].words, rows[2].words) == (list(best.words), [])
    assert [row.asDict() for row in parts] == [{"caption": best.text, "probability": rows[0].probability}] * 2
    assert rows[0].probability == pytest.approx(best.probability, rel=1e-3)

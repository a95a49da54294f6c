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
def test_spark_captions_a_column_of_images(
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
    try:
        caption = mlflow.pyfunc.spark_udf(
            spark, str(tmp_path / "packaged"), result_type="caption string, probability double", env_manager="local"
        )
        rows = spark.createDataFrame([(image,)] * 3, ["image"]).select(caption("image").alias("said")).collect()
    finally:
        spark.stop()
    [best] = Captioner.load(folder, "cpu").caption(picture)
    assert [row.said.caption for row in rows] == [best.text] * 3
    assert rows[0].said.probability == pytest.approx(best.probability, rel=1e-3)

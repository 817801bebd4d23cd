"""A load of dlt into a DuckDB file, the same for every source: `DIRECTORY` holds the file and what dlt keeps beside it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["load"]


def load(source: Any, directory: str) -> None:
    """Load *source*, and print how many offers came."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"  # what is measured asks nobody else
    import dlt

    pipeline = dlt.pipeline(
        "limio_benchmark",
        pipelines_dir=str(Path(directory, "pipelines")),
        destination=dlt.destinations.duckdb(str(Path(directory, "offers.duckdb"))),
        dataset_name="limio",
    )
    pipeline.run(source).raise_on_failed_jobs()
    trace: Any = pipeline.last_trace
    print(json.dumps({"written": trace.last_normalize_info.row_counts["offers"]}))

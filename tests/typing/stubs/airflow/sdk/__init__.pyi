"""What our pages use of Airflow, which is no package to install for one example."""

from datetime import datetime
from typing import Self

class DAG:
    def __init__(
        self,
        dag_id: str,
        *,
        schedule: str,
        start_date: datetime,
        catchup: bool = ...,
        max_active_runs: int = ...,
    ) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...

"""What our pages use of Airflow, which is no package to install for one example."""

from datetime import timedelta

class BashOperator:
    def __init__(
        self,
        *,
        task_id: str,
        bash_command: str,
        append_env: bool = ...,
        cwd: str | None = ...,
        retries: int = ...,
        retry_delay: timedelta = ...,
    ) -> None: ...

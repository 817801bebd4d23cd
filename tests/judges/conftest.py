"""What the tests share that ask a program of somebody else's for its verdict."""

from tests.wire.conftest import hurried_time as hurried_time

import socket

import pytest

from wordgaze.core.errors import WordgazeError
from wordgaze.core.network import listen


def test_an_address_that_is_taken_or_unknown_names_the_options() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(WordgazeError, match=rf"127\.0\.0\.1:{port} is not available .*--host or --port"):
            listen("127.0.0.1", port)
    with pytest.raises(WordgazeError, match=r"256\.0\.0\.1:5001 is not available"):
        listen("256.0.0.1", 5001)
    with listen("127.0.0.1", 0) as free:
        assert free.getsockname()[1] > 0

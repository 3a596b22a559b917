import pytest

from bertjax.errors import UserError


def test_a_library_user_catches_a_value_error():
    with pytest.raises(ValueError, match="one line"):
        raise UserError("one line")

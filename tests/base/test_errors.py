from hpo_utils.base import errors


def test_every_error_has_the_root_and_is_in_the_tree():
    classes = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, Exception)
    ]
    assert all(issubclass(error, errors.HpoError) for error in classes)
    assert all(error.__name__ in errors.__doc__ for error in classes)


def test_notebooks_show_the_sentence_alone():
    assert errors.DataError("x is missing")._render_traceback_() == ["DataError: x is missing"]

"""A study: opened, searched, resumed, summarised; and a training by hand."""

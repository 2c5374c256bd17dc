"""Who may come in and under which name: admission, devices of one name, names that pass on, the operator."""

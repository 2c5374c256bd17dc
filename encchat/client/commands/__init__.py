"""The slash commands: one table, and a module for each kind of thing that a person does."""

"""What people do: importing files, deciding, editing, archiving, exporting. The CLI and the console call it."""

"""A forecast of an export, from the listing and a sample of label rows. Writes nothing."""

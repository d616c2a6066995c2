"""Who runs parts. An engine decides where a part is harvested, never what is in it."""

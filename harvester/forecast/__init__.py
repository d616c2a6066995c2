"""What an export will come to, from the listing and a sample of label rows. Writes nothing."""

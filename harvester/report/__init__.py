"""What an export holds, in numbers and on one page. Read from the target alone, in one pass."""

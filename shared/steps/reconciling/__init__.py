"""What is held against what, month by month: figures that a lock asks for, lines, published files, files of others."""

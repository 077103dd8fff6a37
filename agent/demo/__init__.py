"""The demo: two companies' worth of data made up from a seed, people who edit it, and the story told at the end."""

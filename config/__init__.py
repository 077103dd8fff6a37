"""What the operator writes, as a typed, validated model; and the records that every layer speaks."""

"""The training objective: GiLt, part attention, and their sum (Eq. 5)."""

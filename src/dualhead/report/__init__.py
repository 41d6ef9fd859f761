"""Results to tables, figures, explanations and the PDF."""

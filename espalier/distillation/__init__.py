"""Distillation: losses between a student and a teacher, and the bank of the teacher's answers."""

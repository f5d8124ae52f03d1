"""Equations of the papers; tensors only.  A loss is a module with parameters and a function with an equation."""

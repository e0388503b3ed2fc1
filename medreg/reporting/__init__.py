"""Tables, figures and pages made from the files of a run folder; never trains and never imports torch."""

from __future__ import annotations

"""What travels with a run: the payload's folder, extra files, ``dagster_pipes``; found here, sent once by content.

``resolve`` says what a payload is, ``collect`` which files go with it, ``bundle`` how they travel, ``interpreter`` how
it is started there; ``remote/store.py`` unpacks on the other side.
"""

"""Files of other systems: captions, references, boxes."""

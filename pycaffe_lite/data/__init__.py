"""Where a net's inputs come from: databases, images and digits, transformed and read ahead."""

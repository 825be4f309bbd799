"""A U-Net that reconstructs images of knees from undersampled magnetic resonance scans."""

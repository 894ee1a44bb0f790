"""What `import caffe` finds in the child processes of a script that `python -m caffe_viz.run` runs."""

from caffe_viz.run import prepare

prepare("torch")  # which puts the engine itself into this module's place

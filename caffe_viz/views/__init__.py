"""One function per question. Each returns values that can show themselves in a notebook.

Nothing here prints or opens a window. `net` is a `caffe.Net` from `load_net`, or a `Network` of two files.
"""

from caffe_viz.tables import Shapes
from caffe_viz.views.attributed import Attributed, show_attribution
from caffe_viz.views.classified import Classified, classify
from caffe_viz.views.compared import Compared, compare_weights
from caffe_viz.views.converted import ConvertedView, convert
from caffe_viz.views.deployed import deploy
from caffe_viz.views.detected import Detections, detect
from caffe_viz.views.dreams import dream, invert
from caffe_viz.views.evaluated import Evaluated, show_evaluation
from caffe_viz.views.evolved import Evolution, show_evolution
from caffe_viz.views.explored import Explorer, explore
from caffe_viz.views.featured import Features, features
from caffe_viz.views.files import first_drawn, shapes, show_weights
from caffe_viz.views.logged import Logged, show_log
from caffe_viz.views.maximized import Maximized, maximize
from caffe_viz.views.objectives import read_objective
from caffe_viz.views.preprocessed import Preprocessing, show_preprocessing
from caffe_viz.views.segmented import Segmentation, segment
from caffe_viz.views.streams import Activations, GradientView, show_activations, show_gradients
from caffe_viz.views.structured import Structure, show_structure
from caffe_viz.views.top_patches import TopImages, top_images

__all__ = [
    "Activations",
    "Attributed",
    "Classified",
    "Compared",
    "ConvertedView",
    "Detections",
    "Evaluated",
    "Evolution",
    "Explorer",
    "Features",
    "GradientView",
    "Logged",
    "Maximized",
    "Preprocessing",
    "Segmentation",
    "Shapes",
    "Structure",
    "TopImages",
    "classify",
    "compare_weights",
    "convert",
    "deploy",
    "detect",
    "dream",
    "explore",
    "features",
    "first_drawn",
    "invert",
    "maximize",
    "read_objective",
    "segment",
    "shapes",
    "show_activations",
    "show_attribution",
    "show_evaluation",
    "show_evolution",
    "show_gradients",
    "show_log",
    "show_preprocessing",
    "show_structure",
    "show_weights",
    "top_images",
]

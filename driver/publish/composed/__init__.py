"""Files that a class composes from several objects (``spec.files``): ``compose`` adds them to a provider's reply,
``formats`` and ``template`` say what is in them."""

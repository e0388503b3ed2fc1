"""What variational inference is compared with, behind one predictive distribution.

Exact posteriors of linear models, MC dropout (enumerated where it is small), deep ensembles, Laplace approximations and
Hamiltonian Monte Carlo. All of them answer with a `Predictive`, so that scores compare methods and not protocols.
"""
